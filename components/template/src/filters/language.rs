//! Months, weekdays and number signs of the languages that the filters speak (CLDR 46).

use minijinja::Error;

use super::invalid;

/// How a language writes dates and numbers.
#[derive(Debug)]
pub(super) struct Language {
    /// The first part of the tag (RFC 5646).
    pub(super) tag: &'static str,
    pub(super) months: [&'static str; 12],
    pub(super) months_short: [&'static str; 12],
    /// From Monday.
    pub(super) weekdays: [&'static str; 7],
    pub(super) weekdays_short: [&'static str; 7],
    /// Patterns of `strftime` for `short`, `medium`, `long` and `full`.
    pub(super) dates: [&'static str; 4],
    /// A pattern of `strftime`.
    pub(super) time: &'static str,
    pub(super) decimal: &'static str,
    pub(super) group: &'static str,
    /// Digits before the first group sign: two in Spanish, which writes `1234` and `12.345`.
    pub(super) least_grouped: usize,
    /// The currency stands before the amount.
    pub(super) currency_first: bool,
    /// Zero takes the singular.
    pub(super) zero_is_one: bool,
}

/// NARROW NO-BREAK SPACE.
const NARROW: &str = "\u{202f}";

static LANGUAGES: [Language; 6] = [
    Language {
        tag: "en",
        months: [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ],
        months_short: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
        weekdays: ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
        weekdays_short: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        dates: ["%-m/%-d/%y", "%b %-d, %Y", "%B %-d, %Y", "%A, %B %-d, %Y"],
        time: "%-I:%M %p",
        decimal: ".",
        group: ",",
        least_grouped: 1,
        currency_first: true,
        zero_is_one: false,
    },
    Language {
        tag: "es",
        months: [
            "enero",
            "febrero",
            "marzo",
            "abril",
            "mayo",
            "junio",
            "julio",
            "agosto",
            "septiembre",
            "octubre",
            "noviembre",
            "diciembre",
        ],
        months_short: ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sept", "oct", "nov", "dic"],
        weekdays: ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
        weekdays_short: ["lun", "mar", "mié", "jue", "vie", "sáb", "dom"],
        dates: ["%-d/%-m/%y", "%-d %b %Y", "%-d de %B de %Y", "%A, %-d de %B de %Y"],
        time: "%-H:%M",
        decimal: ",",
        group: ".",
        least_grouped: 2,
        currency_first: false,
        zero_is_one: false,
    },
    Language {
        tag: "fr",
        months: [
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ],
        months_short: [
            "janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc.",
        ],
        weekdays: ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
        weekdays_short: ["lun.", "mar.", "mer.", "jeu.", "ven.", "sam.", "dim."],
        dates: ["%d/%m/%Y", "%-d %b %Y", "%-d %B %Y", "%A %-d %B %Y"],
        time: "%H:%M",
        decimal: ",",
        group: NARROW,
        least_grouped: 1,
        currency_first: false,
        zero_is_one: true,
    },
    Language {
        tag: "de",
        months: [
            "Januar",
            "Februar",
            "März",
            "April",
            "Mai",
            "Juni",
            "Juli",
            "August",
            "September",
            "Oktober",
            "November",
            "Dezember",
        ],
        months_short: [
            "Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez.",
        ],
        weekdays: ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"],
        weekdays_short: ["Mo.", "Di.", "Mi.", "Do.", "Fr.", "Sa.", "So."],
        dates: ["%d.%m.%y", "%d.%m.%Y", "%-d. %B %Y", "%A, %-d. %B %Y"],
        time: "%H:%M",
        decimal: ",",
        group: ".",
        least_grouped: 1,
        currency_first: false,
        zero_is_one: false,
    },
    Language {
        tag: "it",
        months: [
            "gennaio",
            "febbraio",
            "marzo",
            "aprile",
            "maggio",
            "giugno",
            "luglio",
            "agosto",
            "settembre",
            "ottobre",
            "novembre",
            "dicembre",
        ],
        months_short: ["gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic"],
        weekdays: ["lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"],
        weekdays_short: ["lun", "mar", "mer", "gio", "ven", "sab", "dom"],
        dates: ["%d/%m/%y", "%-d %b %Y", "%-d %B %Y", "%A %-d %B %Y"],
        time: "%H:%M",
        decimal: ",",
        group: ".",
        least_grouped: 1,
        currency_first: false,
        zero_is_one: false,
    },
    Language {
        tag: "pt",
        months: [
            "janeiro",
            "fevereiro",
            "março",
            "abril",
            "maio",
            "junho",
            "julho",
            "agosto",
            "setembro",
            "outubro",
            "novembro",
            "dezembro",
        ],
        months_short: [
            "jan.", "fev.", "mar.", "abr.", "mai.", "jun.", "jul.", "ago.", "set.", "out.", "nov.", "dez.",
        ],
        weekdays: [
            "segunda-feira",
            "terça-feira",
            "quarta-feira",
            "quinta-feira",
            "sexta-feira",
            "sábado",
            "domingo",
        ],
        weekdays_short: ["seg.", "ter.", "qua.", "qui.", "sex.", "sáb.", "dom."],
        dates: ["%d/%m/%Y", "%-d de %b de %Y", "%-d de %B de %Y", "%A, %-d de %B de %Y"],
        time: "%H:%M",
        decimal: ",",
        group: ".",
        least_grouped: 1,
        currency_first: true,
        zero_is_one: true,
    },
];

/// The language of a tag; English without one.
pub(super) fn language(tag: Option<&str>) -> Result<&'static Language, Error> {
    let tag = tag.unwrap_or("en");
    let first = tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    LANGUAGES.iter().find(|language| language.tag == first).ok_or_else(|| {
        let known: Vec<&str> = LANGUAGES.iter().map(|language| language.tag).collect();
        invalid(format!("the language {tag:?} is not known, known are {}", known.join(", ")))
    })
}
