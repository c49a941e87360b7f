//! ZP-10: who has given the claim back changes nothing of the function any more.
use gate::ThreadToken;
use zpci::{Work, Zdev};

fn late(zdev: &Zdev, token: &mut ThreadToken) {
    let Some(claim) = zdev.begin(Work::Recovery) else { return };
    drop(claim);
    let _renewed = claim.renew(token, true);
}

fn main() {
    let _ = late;
}
