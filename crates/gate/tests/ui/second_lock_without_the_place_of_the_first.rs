//! Under a guard the thread's token is no place: only what the guard gives is.
use gate::ThreadToken;
use gate::lock::Lock;

mod ranks {
    gate::ranks! {
        /// Comes first.
        pub Plan = 10, "plan", before [Table];
        /// Comes second.
        pub Table = 20, "table";
    }
}

fn main() {
    let (plan, table) = (Lock::<ranks::Plan, u32>::new(0), Lock::<ranks::Table, u32>::new(0));
    let mut token = ThreadToken::at_thread_entry();
    let planned = plan.lock(&mut token);
    let tabled = table.lock(&mut token);
    drop((planned, tabled));
}
