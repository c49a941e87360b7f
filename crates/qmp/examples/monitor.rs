//! Plugs and unplugs a vfio-user device by hand: `monitor QMP status`, `monitor QMP plug ID SOCKET [BUS]`,
//! `monitor QMP unplug ID SECONDS`, `monitor QMP list`.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use gate::{Deadline, ThreadToken};
use qmp::{Device, Pace, Vm};
use std::error::Error;
use std::time::Duration;

const ANSWER: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [monitor, words @ ..] = words.as_slice() else { return Err("which monitor?".into()) };
    let vm = Vm::new("vm", *monitor);
    let mut token = ThreadToken::at_thread_entry();
    let soon = Deadline::after(ANSWER);
    match words {
        ["status"] => println!("{:?}", vm.status(&mut token, soon)?),
        ["list"] => println!("{:?}", vm.devices(&mut token, soon)?),
        ["plug", id, socket, bus @ ..] => {
            let device = Device { id: &id.parse()?, socket: socket.as_ref(), bus: bus.first().copied() };
            println!("{:?}", vm.plug(&mut token, &device, soon)?);
        }
        ["unplug", id, seconds] => {
            let deadline = Deadline::after(Duration::from_secs(seconds.parse()?));
            let told = &mut |step| println!("{step:?}");
            println!("{:?}", vm.unplug(&mut token, &id.parse()?, Pace::default(), deadline, told)?);
        }
        _ => return Err("status, list, plug ID SOCKET [BUS], or unplug ID SECONDS".into()),
    }
    Ok(())
}
