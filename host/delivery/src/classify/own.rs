//! What failures mean that no receiver said: by status (RFC 3463), which is ours.

use std::sync::{Arc, LazyLock};

use relevo_mailkit::classification::{Action, BounceType, Classification, Explanation, Subject};
use relevo_mailkit::reply::EnhancedCode;

use crate::failure::SUPPRESSED;

/// The meaning of a failure of our own. None: there is nothing to be done about it, such as for a
/// suppressed address.
pub(super) fn answer(status: EnhancedCode) -> Option<Arc<Classification>> {
    if status == SUPPRESSED {
        return None;
    }
    let known = ANSWERS.iter().find(|(of, _)| of.contains(&(status.subject, status.detail)));
    known.map(|(_, answer)| answer.clone())
}

/// Subjects and details, and what they mean.
type Known = (&'static [(u16, u16)], Arc<Classification>);

static ANSWERS: LazyLock<Vec<Known>> = LazyLock::new(|| {
    use Action::{Fix, Retry, Suppress};
    use BounceType::{Block, Hard, Soft};
    use Subject::{Message, Recipient, RemoteSystem, Us};
    vec![
        known(
            &[(1, 10)],
            ("domain_takes_no_mail", Hard, Recipient, Suppress),
            "The domain publishes a null MX: it takes no mail.",
            "El dominio publica un MX nulo: no acepta correo.",
            Some("https://www.rfc-editor.org/rfc/rfc7505"),
        ),
        known(
            &[(1, 2)],
            ("domain_unknown", Hard, Recipient, Suppress),
            "The recipient's domain does not exist or has no mail server.",
            "El dominio del destinatario no existe o no tiene servidor de correo.",
            None,
        ),
        known(
            &[(4, 3)],
            ("dns_failure", Soft, RemoteSystem, Retry),
            "The DNS of the recipient's domain gives no answer. It is asked again.",
            "El DNS del dominio del destinatario no responde. Se consultará de nuevo.",
            None,
        ),
        known(
            &[(4, 1), (4, 2), (4, 7), (5, 0)],
            ("connection_failed", Soft, RemoteSystem, Retry),
            "The recipient's mail server cannot be reached, or the connection broke.",
            "No se puede conectar con el servidor del destinatario, o la conexión se cortó.",
            None,
        ),
        known(
            &[(7, 4), (7, 5)],
            ("tls_failed", Soft, RemoteSystem, Retry),
            "This mail needs TLS, and the recipient's mail server does not offer it in a usable way.",
            "Este correo necesita TLS y el servidor del destinatario no lo ofrece de forma utilizable.",
            None,
        ),
        known(
            &[(4, 4)],
            ("domain_misconfigured", Soft, RemoteSystem, Retry),
            "The MX hosts of the recipient's domain have no address that can be used.",
            "Los servidores MX del dominio del destinatario no tienen ninguna dirección utilizable.",
            None,
        ),
        known(
            &[(4, 6)],
            ("routing_loop", Soft, Us, Fix),
            "The MX records of the recipient's domain name this relay, which does not take its mail.",
            "Los registros MX del dominio del destinatario nombran a este relay, que no acepta su correo.",
            None,
        ),
        known(
            &[(5, 3)],
            ("too_many_recipients", Soft, RemoteSystem, Retry),
            "The server takes no more recipients for now. The others are sent later.",
            "El servidor no acepta más destinatarios por ahora. Los demás se envían más tarde.",
            None,
        ),
        known(
            &[(3, 4)],
            ("message_too_large", Block, Message, Fix),
            "The message is larger than the recipient's mail server takes. Send a link instead.",
            "El mensaje es mayor de lo que acepta el servidor del destinatario. Envíe un enlace.",
            None,
        ),
        known(
            &[(6, 3), (6, 7), (6, 8), (6, 9)],
            ("message_not_supported", Block, Message, Fix),
            "The recipient's mail server cannot take mail of this form, such as 8-bit text or \
             addresses beyond ASCII.",
            "El servidor del destinatario no acepta correo de esta forma, como texto de 8 bits o \
             direcciones no ASCII.",
            None,
        ),
        known(
            &[(3, 3), (7, 30)],
            ("promise_not_kept", Block, Message, Fix),
            "The sender asks for REQUIRETLS or DELIVERBY, and no server of the recipient promises it.",
            "El remitente pide REQUIRETLS o DELIVERBY y ningún servidor del destinatario lo promete.",
            None,
        ),
        known(
            &[(3, 0)],
            ("internal", Soft, Us, Retry),
            "Something broke in this relay. The log says what.",
            "Algo falló en este relay. El registro dice qué.",
            None,
        ),
        known(
            &[(3, 5)],
            ("misconfigured", Soft, Us, Fix),
            "This relay is configured wrongly for this mail: a source address or the smarthost.",
            "Este relay está mal configurado para este correo: una dirección de origen o el smarthost.",
            None,
        ),
    ]
});

fn known(
    statuses: &'static [(u16, u16)],
    (category, bounce_type, about, action): (&str, BounceType, Subject, Action),
    en: &str,
    es: &str,
    doc: Option<&str>,
) -> Known {
    let answer = Classification {
        bounce_type,
        category: category.to_owned(),
        about,
        action,
        rule: format!("relevo-{}", category.replace('_', "-")),
        rules_version: env!("CARGO_PKG_VERSION").to_owned(),
        explanation: Explanation { en: en.to_owned(), es: es.to_owned() },
        doc: doc.map(str::to_owned),
    };
    (statuses, Arc::new(answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure;

    #[test]
    fn only_a_domain_without_mail_suppresses() {
        for (statuses, answer) in ANSWERS.iter() {
            let is_dead = statuses.iter().all(|status| [(1, 2), (1, 10)].contains(status));
            assert_eq!(answer.action == Action::Suppress, is_dead, "{}", answer.category);
        }
    }

    #[test]
    fn every_status_of_our_own_has_an_answer() {
        use failure::{
            BAD_SYSTEM, DIRECTORY, EXPIRED, INTERNAL, LOOP, MISCONFIGURED, NO_ANSWER, NOT_CAPABLE,
            NOT_CONVERTED, NULL_MX, TLS_NOT_KEPT, TOO_BIG, TOO_LATE, UNROUTABLE, UTF8_ADDRESS, UTF8_HEADER,
        };
        let ours = [
            BAD_SYSTEM,
            DIRECTORY,
            EXPIRED,
            INTERNAL,
            LOOP,
            MISCONFIGURED,
            NO_ANSWER,
            NOT_CAPABLE,
            NOT_CONVERTED,
            NULL_MX,
            TLS_NOT_KEPT,
            TOO_BIG,
            TOO_LATE,
            UNROUTABLE,
            UTF8_ADDRESS,
            UTF8_HEADER,
        ];
        for status in ours {
            assert!(answer(status).is_some(), "{status}");
        }
        assert!(answer(SUPPRESSED).is_none());
    }
}
