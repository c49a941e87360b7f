//! What the controller says of itself.

use gate::ThreadToken;
use models::nvme::host::commands;
use nvme_spec::IDENTIFY_SIZE;
use nvme_spec::feature::NumberOfQueues;
use nvme_spec::identify::{self, Cns};
use zerocopy::FromBytes;

use super::{Attempt, Made};
use crate::nvme::error::BringUpError;
use crate::nvme::identity::{Identity, MAX_NAMESPACES, Namespace};
use crate::nvme::layout::Layout;

impl Attempt<'_> {
    /// Asks for the controller, its namespaces and its queues. The number of queues in use is what is given, the first time, and
    /// must be given ever after.
    pub(super) fn identify(
        &mut self,
        token: &mut ThreadToken,
        made: &mut Made,
    ) -> Result<Identity, BringUpError> {
        let identify = self.page(token, made, Cns::Controller, 0)?;
        let Ok(controller) = identify::Controller::read_from_bytes(&identify) else {
            return Err(BringUpError::Unsupported("Identify Controller is longer than a page"));
        };
        made.last_event = controller.aerl;
        let namespaces = self.namespaces(token, made)?;
        let known = self.core.with(|state| state.identity.as_ref().map(|known| known.queues));
        let wanted = known.unwrap_or(made.layout.queues());
        let completion = self.execute(token, made, "Number of Queues", commands::set_queue_count(wanted))?;
        let given = NumberOfQueues(completion.dw0.get());
        let queues = given.submission().min(given.completion()).saturating_add(1).min(wanted);
        made.layout = Layout::new(queues, self.core.options.depth, made.capabilities);
        made.rings.keep(queues);
        Ok(Identity {
            identify,
            capabilities: made.capabilities.0,
            version: made.version,
            queues,
            namespaces,
        })
    }

    fn namespaces(
        &mut self,
        token: &mut ThreadToken,
        made: &mut Made,
    ) -> Result<Vec<Namespace>, BringUpError> {
        let list = self.page(token, made, Cns::ActiveNamespaceList, 0)?;
        let Ok(list) = identify::NamespaceList::read_from_bytes(&list) else {
            return Err(BringUpError::Unsupported("its list of namespaces is longer than a page"));
        };
        let nsids: Vec<u32> = list.nsid.iter().map(|nsid| nsid.get()).take_while(|&nsid| nsid != 0).collect();
        if nsids.len() > MAX_NAMESPACES {
            return Err(BringUpError::Unsupported("it has more than 256 namespaces"));
        }
        let mut namespaces = Vec::with_capacity(nsids.len());
        for nsid in nsids {
            let page = self.page(token, made, Cns::Namespace, nsid)?;
            if let Ok(namespace) = identify::Namespace::read_from_bytes(&page) {
                namespaces.push(Namespace::new(nsid, &namespace));
            }
        }
        Ok(namespaces)
    }

    /// One Identify structure, copied once.
    fn page(
        &mut self,
        token: &mut ThreadToken,
        made: &mut Made,
        cns: Cns,
        nsid: u32,
    ) -> Result<[u8; IDENTIFY_SIZE], BringUpError> {
        let at = made.layout.page();
        let entry = commands::identify(cns, nsid, self.iova(at));
        self.execute(token, made, cns.name(), entry)?;
        let mut page = [0; IDENTIFY_SIZE];
        made.rings.memory().read(at, &mut page).map_err(BringUpError::Memory)?;
        Ok(page)
    }
}
