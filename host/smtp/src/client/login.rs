//! AUTH at a smarthost.

use std::net::IpAddr;

use relevo_proto::client::{
    DialogueStep, Failure, NONCE, RemoteReply, SaslError, SaslExchange, SaslIdentity, SaslSecret,
};
use rustls::crypto::aws_lc_rs;
use tokio::task::spawn_blocking;

use super::connection::Connection;
use super::recorder::HIDDEN;
use super::types::{Auth, AuthSecret, Target, TlsState};

/// Octets of a token: what one line can carry (RFC 4954 section 4), encoded and with the rest.
const MAX_TOKEN: usize = 8 * 1024;

impl Connection {
    /// Logs in by the strongest mechanism that is offered.
    pub(super) async fn authenticate(&mut self, target: &Target, auth: &Auth) -> Result<(), Failure> {
        if !may_send_credentials(&self.tls, target.addr.ip()) {
            return Err(refuse((4, 7, 11), "credentials are only sent under a verified certificate"));
        }
        let token;
        let secret = match &auth.secret {
            AuthSecret::Password(password) => SaslSecret::Password(password),
            AuthSecret::Token(source) => {
                let source = source.clone();
                let read = spawn_blocking(move || source.token()).await;
                let read = read.unwrap_or_else(|error| Err(error.to_string())).and_then(checked);
                token = read.map_err(|detail| refuse((4, 7, 8), &detail))?;
                SaslSecret::Token(&token)
            }
        };
        let identity = SaslIdentity {
            username: &auth.username,
            host: &target.host,
            port: target.addr.port(),
            channel_binding: self.wire.stream.channel_binding(),
        };
        let Some(mechanism) = self.abilities.auth.strongest(secret, identity.channel_binding.is_some())
        else {
            let wanted = match secret {
                SaslSecret::Password(_) => "AUTH SCRAM-SHA-256, PLAIN or LOGIN",
                SaslSecret::Token(_) => "AUTH OAUTHBEARER or XOAUTH2",
            };
            return Err(refuse((4, 7, 4), &format!("{wanted} is not offered")));
        };
        let exchange = SaslExchange::new(mechanism, secret, &identity, nonce()?);
        let (SaslSecret::Password(secret) | SaslSecret::Token(secret)) = secret;
        let shown = format!("AUTH {} {HIDDEN}", mechanism.name());
        self.exchange(exchange, &shown, secret).await
    }

    /// Says what the exchange says until the server accepts or refuses.
    async fn exchange(
        &mut self,
        mut exchange: SaslExchange,
        shown: &str,
        secret: &str,
    ) -> Result<(), Failure> {
        let mut reply = self.say(&exchange.command(), shown, secret).await?;
        while reply.code == 334 {
            let challenge = std::mem::take(&mut reply.text);
            // SCRAM may compute for long.
            let responded = spawn_blocking(move || (exchange.respond(&challenge), exchange)).await;
            let (answer, after) = responded.map_err(|error| refuse((4, 3, 0), &error.to_string()))?;
            exchange = after;
            match answer {
                Ok(line) => reply = self.say(&line, HIDDEN, secret).await?,
                Err(error) => return Err(self.cancel(error, secret).await),
            }
        }
        if reply.code / 100 != 2 {
            return Err(Failure::of_reply(DialogueStep::Auth, reply));
        }
        exchange.finish().map_err(|error| distrusted(&error))
    }

    /// Tells the server that the login does not go on, and whatever it answers is of no interest.
    async fn cancel(&mut self, error: SaslError, secret: &str) -> Failure {
        let _ = self.say("*\r\n", "*", secret).await;
        distrusted(&error)
    }

    async fn say(&mut self, line: &str, shown: &str, secret: &str) -> Result<RemoteReply, Failure> {
        let response = line.trim_end().rsplit(' ').next().unwrap_or_default();
        // A word of a few letters, such as the name of the mechanism, hides nothing.
        let response = if response.len() > 3 { response } else { "" };
        let limit = self.config.command_timeout;
        self.wire.ask_secretly(line.as_bytes(), (shown, &[response, secret]), limit).await
    }
}

/// A token that can stand in a header of HTTP, where its kind is from (RFC 6750 section 2.1).
fn checked(token: String) -> Result<String, String> {
    let fits = (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(token) } else { Err(format!("a token is 1 to {MAX_TOKEN} printable characters")) }
}

fn nonce() -> Result<[u8; NONCE], Failure> {
    let mut nonce = [0; NONCE];
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut nonce);
    filled.map_err(|_| refuse((4, 3, 0), "no random octets"))?;
    Ok(nonce)
}

fn refuse(status: (u8, u16, u16), detail: &str) -> Failure {
    Failure::of_host(DialogueStep::Auth, status, detail)
}

fn distrusted(error: &SaslError) -> Failure {
    refuse((4, 7, 8), &format!("the login was given up: {error}"))
}

/// Only to a host that has proved its name, or to this very machine.
fn may_send_credentials(tls: &TlsState, remote: IpAddr) -> bool {
    tls.verified || remote.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_go_to_strangers() {
        let clear = TlsState::default();
        let any = TlsState { cipher: Some("TLSv1.3".to_owned()), verified: false };
        let verified = TlsState { verified: true, ..any.clone() };
        let [stranger, v4, v6, mapped] =
            ["192.0.2.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"].map(|ip| ip.parse().unwrap());
        assert!(!may_send_credentials(&clear, stranger));
        assert!(!may_send_credentials(&any, stranger));
        assert!(may_send_credentials(&verified, stranger));
        for loopback in [v4, v6, mapped] {
            assert!(may_send_credentials(&clear, loopback));
        }
    }
}
