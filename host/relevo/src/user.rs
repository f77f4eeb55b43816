//! `relevo user`: people who sign in to the panel.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use relevo_relay::clock::timestamp;
use relevo_relay::users::{Invitation, Link, User, UserChange, UserRole, Users, UsersError};
use serde_json::{Value, json};

use crate::cli::{UserArgs, UserCommand};
use crate::client::print_json;
use crate::escape::Escaped;
use crate::store::{self, OpenStore};

/// Users that are read at once.
const PAGE: u32 = 1_000;

/// Does what is asked, and prints.
pub(crate) fn run(command: &UserCommand) -> anyhow::Result<ExitCode> {
    store::run(async {
        match command {
            UserCommand::List { store, tenant } => list(store, tenant.as_deref()).await,
            UserCommand::Invite { store, email, tenant, role, operator, name } => {
                let role = if *operator { UserRole::Operator } else { *role };
                let invitation = Invitation { email: email.clone(), name: name.clone(), role };
                invite(store, tenant.as_deref(), &invitation).await
            }
            UserCommand::Reset { store, email, remove_authenticator } => {
                reset(store, email, *remove_authenticator).await
            }
            UserCommand::Disable { store, email } => set_disabled(store, email, true).await,
            UserCommand::Enable { store, email } => set_disabled(store, email, false).await,
            UserCommand::Delete { store, email } => delete(store, email).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The store with its users.
async fn open(args: &UserArgs, tenant: Option<&str>) -> anyhow::Result<(OpenStore, Users)> {
    let open = OpenStore::open_for(&args.config, tenant).await?;
    let config = open.parts.panel.users.clone();
    let users = Users::new(Arc::clone(&open.store) as _, open.clock.clone(), open.ids.clone(), config);
    Ok((open, users))
}

/// A user by address.
async fn find(users: &Users, email: &str) -> anyhow::Result<User> {
    let found = users.find(email).await?;
    found.with_context(|| format!("there is no user `{}`", Escaped(email)))
}

/// Only tenants have an audit log.
async fn audit(
    open: &OpenStore,
    tenant: Option<&str>,
    action: &str,
    subject: &str,
    error: Option<&UsersError>,
) {
    if let Some(tenant) = tenant {
        open.audit(tenant, action, subject, error).await;
    }
}

async fn list(args: &UserArgs, tenant: Option<&str>) -> anyhow::Result<()> {
    let (_, users) = open(args, tenant).await?;
    let found = users.list(tenant, "", PAGE).await?;
    if args.json {
        return print_json(&Value::Array(found.iter().map(view).collect()));
    }
    for user in &found {
        let state = match (user.disabled, user.has_password || user.has_oidc, user.signed_in_at) {
            (true, ..) => "disabled".to_owned(),
            (_, false, _) => "invited".to_owned(),
            (_, _, Some(at)) => format!("signed in {}", timestamp(at)),
            (_, _, None) => "never signed in".to_owned(),
        };
        println!("{}  {}  {}  {}  {state}", user.id, user.role, Escaped(&user.email), Escaped(&user.name));
    }
    Ok(())
}

fn view(user: &User) -> Value {
    json!({
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "tenant": user.tenant,
        "role": user.role.name(),
        "has_password": user.has_password,
        "has_authenticator": user.has_totp,
        "has_identity_provider": user.has_oidc,
        "disabled": user.disabled,
        "created_at": timestamp(user.created_at),
        "last_signed_in_at": user.signed_in_at.map(timestamp),
    })
}

async fn invite(args: &UserArgs, tenant: Option<&str>, invitation: &Invitation) -> anyhow::Result<()> {
    let (open, users) = open(args, tenant).await?;
    let invited = users.invite(tenant, invitation).await;
    let subject = invited.as_ref().map_or(&invitation.email, |(user, _)| &user.id);
    audit(&open, tenant, "user invite", subject, invited.as_ref().err()).await;
    let (user, link) = invited?;
    show(args, &open, &user, &link)
}

async fn reset(args: &UserArgs, email: &str, remove_totp: bool) -> anyhow::Result<()> {
    let (open, users) = open(args, None).await?;
    let user = find(&users, email).await?;
    let tenant = user.tenant.as_deref();
    if remove_totp {
        let change = UserChange { remove_totp, ..UserChange::default() };
        let changed = users.change(tenant, &user.id, &change).await;
        audit(&open, tenant, "user remove authenticator", &user.id, changed.as_ref().err()).await;
        changed?;
    }
    let link = users.reset_link(tenant, &user.id).await;
    audit(&open, tenant, "user reset", &user.id, link.as_ref().err()).await;
    show(args, &open, &user, &link?)
}

async fn set_disabled(args: &UserArgs, email: &str, disabled: bool) -> anyhow::Result<()> {
    let (open, users) = open(args, None).await?;
    let user = find(&users, email).await?;
    let tenant = user.tenant.as_deref();
    let change = UserChange { disabled: Some(disabled), ..UserChange::default() };
    let changed = users.change(tenant, &user.id, &change).await;
    let action = if disabled { "user disable" } else { "user enable" };
    audit(&open, tenant, action, &user.id, changed.as_ref().err()).await;
    let changed = changed?;
    if args.json {
        return print_json(&view(&changed));
    }
    println!("{} {} sign in", changed.email, if disabled { "may not" } else { "may" });
    Ok(())
}

async fn delete(args: &UserArgs, email: &str) -> anyhow::Result<()> {
    let (open, users) = open(args, None).await?;
    let user = find(&users, email).await?;
    let tenant = user.tenant.as_deref();
    let deleted = users.delete(tenant, &user.id).await;
    audit(&open, tenant, "user delete", &user.id, deleted.as_ref().err()).await;
    deleted?;
    match args.json {
        true => print_json(&json!({ "id": user.id, "deleted": true })),
        false => {
            println!("{} is deleted", user.email);
            Ok(())
        }
    }
}

fn show(args: &UserArgs, open: &OpenStore, user: &User, link: &Link) -> anyhow::Result<()> {
    let (url, until) = (format!("{}{}", open.parts.panel.url, link.path()), timestamp(link.expires_at));
    if args.json {
        return print_json(&json!({ "id": user.id, "url": url, "expires_at": until }));
    }
    println!("id: {}\nlink for {}, once and until {until}:\n{url}", user.id, user.email);
    Ok(())
}
