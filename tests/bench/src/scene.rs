//! A sink with its ledger: what each part of the benchmark measures against.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use crate::dns;
use crate::ledger::Ledger;
use crate::message::Addresses;
use crate::relay::NextHop;
use crate::sink::{Behaviour, Observer, Sites};

/// The tag of recipients, unless a part has several kinds of them.
pub(crate) const TAG: char = 'r';

pub(crate) struct Scene {
    pub(crate) behaviour: Arc<Behaviour>,
    pub(crate) ledger: Arc<Ledger>,
    sites: Sites,
    nameserver: SocketAddr,
}

impl Scene {
    /// Starts the sink of this file.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let ledger = Arc::new(Ledger::new(TAG)?);
        let observer = Arc::clone(&ledger) as Arc<dyn Observer>;
        Self::start(Behaviour::read(file)?, ledger, observer)
    }

    /// Starts one that tells somebody else than the ledger alone.
    pub(crate) fn start(
        behaviour: Behaviour,
        ledger: Arc<Ledger>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let behaviour = Arc::new(behaviour);
        let sites = Sites::start(Arc::clone(&behaviour), observer)?;
        let nameserver = dns::start(Arc::clone(&behaviour))?;
        Ok(Self { behaviour, ledger, sites, nameserver })
    }

    /// Every domain's recipients, by weight.
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses::weighted(TAG, Arc::clone(&self.behaviour))
    }

    pub(crate) fn smarthost(&self) -> SocketAddr {
        self.sites.smarthost
    }

    /// Everything over one host.
    pub(crate) fn by_smarthost(&self) -> NextHop {
        NextHop::Smarthost(self.sites.smarthost)
    }

    /// To each site at its own address.
    pub(crate) fn by_mx(&self) -> NextHop {
        NextHop::Mx { nameserver: self.nameserver, port: self.sites.port }
    }
}
