//! `relevo key generate`.

use std::process::ExitCode;

use relevo_keys::SigningKey;

use crate::cli::KeyArgs;

/// Writes the key and prints the record.
pub(crate) fn run(args: &KeyArgs) -> anyhow::Result<ExitCode> {
    let domain = relevo_mailkit::address::to_ascii(&args.domain)
        .map_err(|error| anyhow::anyhow!("`{}`: {error}", args.domain))?;
    let key = SigningKey::generate(args.algorithm)?;
    key.write(&args.out)?;
    println!("The private key is in {}. Publish this TXT record:\n", args.out.display());
    let name = format!("{}._domainkey.{domain}", args.selector);
    println!("{}\n", zone_line(&name, "TXT", &key.public_record()));
    println!("and configure:\n\n[[tenant.domain]]\nname = \"{domain}\"");
    println!(
        "dkim = [{{ selector = \"{}\", algorithm = \"{}\", key = \"{}\" }}]",
        args.selector,
        args.algorithm.as_str(),
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// A record as a zone file has it.
pub(crate) fn zone_line(name: &str, kind: &str, value: &str) -> String {
    match kind {
        "TXT" => format!("{name}. IN TXT {}", quoted(value)),
        _ => format!("{name}. IN {kind} {value}."),
    }
}

/// Text as a zone file has it: strings of at most 255 octets (RFC 1035 section 3.3.14).
fn quoted(value: &str) -> String {
    let chunks = value.as_bytes().chunks(250).map(|chunk| format!("\"{}\"", String::from_utf8_lossy(chunk)));
    chunks.collect::<Vec<_>>().join(" ")
}
