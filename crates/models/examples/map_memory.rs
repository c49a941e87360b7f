//! A driver in this process maps the memory of an endpoint-test function, and goes on using the mapping while the
//! function's memory is disabled, while the function is frozen, and after it has been removed. No access is stale and
//! none kills the process.
//!
//! `cargo run -p models --example map_memory`

#![allow(clippy::print_stdout)] // Its purpose.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use assign::RegionMapRequest;
use gate::{Deadline, ThreadToken};
use mapping::{MappingError, OnDisabled};
use models::endpoint::{self, Config};

/// The memory BAR, and configuration space.
const MEMORY: u32 = 2;
const CONFIG: u32 = 7;
/// The COMMAND register and its bit for memory decoding.
const COMMAND: u64 = 4;
const MEMORY_SPACE: u16 = 1 << 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut token = ThreadToken::at_thread_entry();
    let assignment = endpoint::build("example", &Config::default(), Arc::new(()))?;
    // A consumer finds memory decoding on.
    let attached = assignment.attach(&mut token)?;
    let area = attached.region_info(MEMORY)?.areas.first().copied().ok_or("the BAR cannot be mapped")?;
    let mapping = attached.map(RegionMapRequest {
        owner: "map_memory example".into(),
        region: MEMORY,
        offset: area.offset,
        size: area.size,
        on_disabled: OnDisabled::Fail,
    })?;

    // Stores reach the device: a read by call, through the gate, finds them.
    mapping.write(&mut token, 0x10, 0x1234_5678_u32)?;
    let mut bytes = [0; 4];
    attached.region_read(&mut token, MEMORY, area.offset + 0x10, &mut bytes)?;
    println!("stored, and read by call: {:#x}", u32::from_le_bytes(bytes));

    attached.region_write(&mut token, CONFIG, COMMAND, &0_u16.to_le_bytes())?;
    show("disabled", mapping.read(&mut token, 0x10));
    attached.region_write(&mut token, CONFIG, COMMAND, &MEMORY_SPACE.to_le_bytes())?;
    show("enabled", mapping.read(&mut token, 0x10));

    assignment.port().freeze("the example");
    show("frozen", mapping.read(&mut token, 0x10));
    assignment.function().gate().thaw();
    show("thawed", mapping.read(&mut token, 0x10));

    for report in assignment.function().mappings().report() {
        println!("{report:?}");
    }
    let _orphans = assignment.function().gate().retire(&mut token, Deadline::after(Duration::from_secs(1)));
    show("removed", mapping.read(&mut token, 0x10));
    drop(mapping);
    attached.detach(&mut token);
    Ok(())
}

fn show(state: &str, read: Result<u32, MappingError>) {
    match read {
        Ok(value) => println!("{state}: {value:#x}"),
        Err(error) => println!("{state}: {error}"),
    }
}
