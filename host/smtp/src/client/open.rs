//! The way to a session: socket, greeting, EHLO, TLS, AUTH.

use std::net::SocketAddr;
use std::time::Duration;

use relevo_proto::client::Abilities;
use rustls::CertificateError;
use rustls_pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use super::connection::Connection;
use super::recorder::Recorder;
use super::tls::Tls;
use super::types::{Auth, ClientConfig, DialogueStep, Failure, Target, TlsFailure, TlsPolicy, TlsState};
use super::wire::{LineStream, lost, timed_out};
use crate::stream::{Stream, describe};

/// The longest wait for a TLS handshake: one that stalls must not hold an attempt for the five
/// minutes of a command.
const HANDSHAKE: Duration = Duration::from_secs(60);

impl Connection {
    /// As [`Self::establish_by`]; where the handshake breaks off or stalls, once more by the key
    /// exchange of old. The first message of the new one does not fit into one packet, which some
    /// old receivers cannot read; without another try their mail would go in clear. Of two failures
    /// the first one counts.
    pub(super) async fn establish(
        target: &Target,
        config: &ClientConfig,
        auth: Option<&Auth>,
        tls: &Tls,
        recorder: Recorder,
    ) -> Result<Self, Failure> {
        let opened = Self::establish_by(target, config, auth, tls, recorder.clone()).await;
        let Err(Failure { tls: Some(TlsFailure::Handshake | TlsFailure::TimedOut), .. }) = &opened else {
            return opened;
        };
        recorder.note(|| "once more, with a smaller first message of TLS".into());
        Self::establish_by(target, config, auth, &tls.classical(), recorder).await.or(opened)
    }

    async fn establish_by(
        target: &Target,
        config: &ClientConfig,
        auth: Option<&Auth>,
        tls: &Tls,
        recorder: Recorder,
    ) -> Result<Self, Failure> {
        recorder.note(|| format!("connecting to {} ({})", target.host, target.addr).into());
        let noted = |failure: Failure| {
            recorder.note(|| failure.detail.as_str().into());
            failure
        };
        let tcp = connect(target, config).await.map_err(noted)?;
        let (stream, state) = if target.tls.mode == TlsPolicy::Implicit {
            let secured = handshake(tcp, target, config, tls).await.map_err(noted)?;
            recorder.note(|| in_words(&secured.1).into());
            secured
        } else {
            (Stream::Plain(tcp), TlsState::default())
        };
        let mut connection = Self {
            wire: LineStream::new(stream, recorder),
            config: config.clone(),
            abilities: Abilities::default(),
            tls: state,
            remote: target.addr,
        };
        let greeting = connection.wire.receive(DialogueStep::Greeting, config.command_timeout).await?;
        if greeting.code / 100 != 2 {
            return Err(Failure::of_reply(DialogueStep::Greeting, greeting));
        }
        connection.hello().await?;
        if !matches!(target.tls.mode, TlsPolicy::None | TlsPolicy::Implicit) {
            connection = connection.start_tls(target, auth.is_some(), tls).await?;
        }
        if let Some(auth) = auth {
            connection.authenticate(target, auth).await?;
        }
        Ok(connection)
    }

    /// EHLO, or HELO for servers that do not know it (RFC 5321 section 3.2).
    async fn hello(&mut self) -> Result<(), Failure> {
        let limit = self.config.command_timeout;
        let line = format!("EHLO {}\r\n", self.config.ehlo);
        let reply = self.wire.ask(line.as_bytes(), DialogueStep::Ehlo, limit).await?;
        if reply.code / 100 == 2 {
            self.abilities = Abilities::parse(&reply);
            return Ok(());
        }
        self.abilities = Abilities::default();
        if reply.code / 100 != 5 {
            return Err(Failure::of_reply(DialogueStep::Ehlo, reply));
        }
        let line = format!("HELO {}\r\n", self.config.ehlo);
        let reply = self.wire.ask(line.as_bytes(), DialogueStep::Ehlo, limit).await?;
        if reply.code / 100 == 2 { Ok(()) } else { Err(Failure::of_reply(DialogueStep::Ehlo, reply)) }
    }

    async fn start_tls(mut self, target: &Target, has_credentials: bool, tls: &Tls) -> Result<Self, Failure> {
        if !self.abilities.starttls {
            if target.tls.allows_clear_after(TlsFailure::NotOffered, has_credentials) {
                return Ok(self);
            }
            let detail = "STARTTLS is required and not offered";
            return Err(Failure::of_tls(TlsFailure::NotOffered, DialogueStep::StartTls, detail));
        }
        // A server that goes silent or speaks out of turn here may do so at every attempt.
        let refused = |failure| Failure { tls: Some(TlsFailure::Refused), ..failure };
        let asked = self.wire.ask(b"STARTTLS\r\n", DialogueStep::StartTls, self.config.command_timeout).await;
        let reply = asked.map_err(refused)?;
        if reply.code / 100 != 2 {
            return Err(Failure::of_reply(DialogueStep::StartTls, reply));
        }
        let recorder = std::mem::take(&mut self.wire.recorder);
        let tcp = self.wire.into_tcp().map_err(refused)?;
        let shaken = handshake(tcp, target, &self.config, tls).await;
        let (stream, state) = shaken.inspect_err(|failure| {
            recorder.note(|| failure.detail.as_str().into());
        })?;
        recorder.note(|| in_words(&state).into());
        self.wire = LineStream::new(stream, recorder);
        self.tls = state;
        // RFC 3207 section 4.2: what was learnt in clear is forgotten.
        self.hello().await?;
        Ok(self)
    }
}

/// The facts of a handshake.
fn in_words(state: &TlsState) -> String {
    let cipher = state.cipher.as_deref().unwrap_or("none");
    let certificate =
        if state.verified { "is valid for the host" } else { "was not checked, or is not valid" };
    format!("TLS: {cipher}; the certificate {certificate}")
}

async fn connect(target: &Target, config: &ClientConfig) -> Result<TcpStream, Failure> {
    let failed = |detail: String| Failure::of_host(DialogueStep::Connect, (4, 4, 1), detail);
    let socket = if target.addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| failed(format!("no socket for {}: {error}", target.addr)))?;
    if let Some(source) = target.source.filter(|s| s.is_ipv4() == target.addr.is_ipv4()) {
        // Nothing of the remote's: its words must not be blamed, and another source may do.
        socket.bind(SocketAddr::new(source, 0)).map_err(|error| {
            Failure::of_host(DialogueStep::Connect, (4, 3, 5), format!("cannot send from {source}: {error}"))
        })?;
    }
    let attempt = async {
        let tcp = socket.connect(target.addr).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    };
    match timeout(config.connect_timeout, attempt).await {
        Ok(Ok(tcp)) => Ok(tcp),
        Ok(Err::<_, std::io::Error>(error)) => {
            Err(failed(format!("cannot connect to {}: {error}", target.addr)))
        }
        Err(_) => Err(failed(format!("timed out connecting to {}", target.addr))),
    }
}

async fn handshake(
    tcp: TcpStream,
    target: &Target,
    config: &ClientConfig,
    tls: &Tls,
) -> Result<(Stream, TlsState), Failure> {
    let failed = |kind, detail: String| Failure::of_tls(kind, DialogueStep::Handshake, detail);
    let strict = matches!(target.tls.mode, TlsPolicy::Verified | TlsPolicy::Implicit);
    let (settings, judge) =
        tls.config(strict, &target.tls).map_err(|error| failed(TlsFailure::Handshake, error.to_string()))?;
    let shown = target.tls.server_name.as_deref().unwrap_or(&target.host);
    let name = match ServerName::try_from(shown.trim_end_matches('.').to_owned()) {
        Ok(name) => name,
        // MX names with an underscore cannot stand in SNI. Where any certificate will do, no name
        // is needed.
        Err(_) if !strict => ServerName::from(target.addr.ip()),
        Err(error) => {
            return Err(failed(TlsFailure::CertificateName, format!("{shown}: {error}")));
        }
    };
    let connecting = TlsConnector::from(settings).connect(name, tcp);
    let stream = match timeout(HANDSHAKE.min(config.command_timeout), connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(failed(handshake_failure(&error), lost(DialogueStep::Handshake, &error).detail));
        }
        Err(_) => return Err(failed(TlsFailure::TimedOut, timed_out(DialogueStep::Handshake).detail)),
    };
    let state = TlsState { cipher: Some(describe(stream.get_ref().1)), verified: judge.was_valid() };
    Ok((Stream::Tls(Box::new(TlsStream::from(stream))), state))
}

/// What an error of the handshake says of the certificate.
fn handshake_failure(error: &std::io::Error) -> TlsFailure {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsFailure::CertificateExpired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFailure::CertificateName
            }
            CertificateError::ApplicationVerificationFailure => TlsFailure::CertificateTlsa,
            _ => TlsFailure::CertificateUntrusted,
        },
        // Ours, when no root is known.
        Some(rustls::Error::General(_)) => TlsFailure::CertificateUntrusted,
        _ => TlsFailure::Handshake,
    }
}
