//! Tables as CSV (RFC 4180), for spreadsheets.

use super::report::{Figures, StatsReport, counts};

/// Rows of figures, each after its own fields.
pub(super) struct CsvTable {
    text: String,
    rates: Vec<String>,
}

impl CsvTable {
    /// With the names of these fields, then those of all counts and rates as in the API.
    pub(super) fn new(fields: &[&str], report: &StatsReport) -> Self {
        let rates: Vec<String> = report.rates.iter().map(|rate| rate.name.clone()).collect();
        let mut table = Self { text: String::new(), rates };
        let names: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        let figures = counts().map(str::to_owned).chain(table.rates.iter().cloned());
        table.push(&names.into_iter().chain(figures).collect::<Vec<_>>());
        table
    }

    /// Numbers are as in the API: a point, and nothing where a rate would divide by 0.
    pub(super) fn row(&mut self, fields: &[&str], figures: &Figures) {
        let mut row: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        row.extend(counts().map(|path| figures.count(path).to_string()));
        let rate = |name: &String| figures.rate(name).map(|rate| rate.to_string()).unwrap_or_default();
        row.extend(self.rates.iter().map(rate));
        self.push(&row);
    }

    fn push(&mut self, row: &[String]) {
        for (at, field) in row.iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            push_field(&mut self.text, field);
        }
        self.text.push_str("\r\n");
    }

    pub(super) fn text(self) -> String {
        self.text
    }
}

/// A field that a spreadsheet takes for a formula gets an apostrophe: its value may be a stranger's.
fn push_field(text: &mut String, field: &str) {
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if !is_formula && !field.contains([',', '"', '\r', '\n']) {
        text.push_str(field);
        return;
    }
    text.push('"');
    if is_formula {
        text.push('\'');
    }
    text.push_str(&field.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_neither_formulas_nor_columns() {
        for (field, wanted) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\tx", "\"'\tx\""),
        ] {
            let mut text = String::new();
            push_field(&mut text, field);
            assert_eq!(text, wanted);
        }
    }
}
