//! How to attach a served function to a virtual machine, as commands to copy.
//!
//! Both monitors need guest memory that another process can map (a shared memory backend), or no DMA reaches it.

use std::path::Path;

/// A complete QEMU command line (10.1 or newer) that boots `disk.img` beside the function at `socket`.
///
/// `-device` must be JSON: the socket is a nested object, which the `key=value` form cannot say.
pub fn qemu(socket: &Path) -> String {
    let socket = socket.display().to_string();
    let device = serde_json::json!({
        "driver": "vfio-user-pci",
        "id": "portcullis0",
        "bus": "rp0",
        "socket": { "type": "unix", "path": socket },
    });
    format!(
        "qemu-system-x86_64 -m 1G -machine q35,memory-backend=mem0 \\\n\
         \x20 -object memory-backend-memfd,id=mem0,size=1G,share=on \\\n\
         \x20 -device pcie-root-port,id=rp0,bus=pcie.0,chassis=1,slot=1 \\\n\
         \x20 -device {} \\\n\
         \x20 -nographic -drive file=GUEST.img,if=virtio",
        shell_quoted(&device.to_string())
    )
}

/// A complete cloud-hypervisor command line that boots `GUEST.img` beside the function at `socket`.
pub fn cloud_hypervisor(socket: &Path) -> String {
    format!(
        "cloud-hypervisor --memory size=1G,shared=on --cpus boot=1 \\\n\
         \x20 --kernel KERNEL --disk path=GUEST.img --cmdline 'console=hvc0 root=/dev/vda1' \\\n\
         \x20 --user-device {}",
        shell_quoted(&format!("socket={}", socket.display()))
    )
}

/// `text` as one word of a POSIX shell.
pub fn shell_quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./=:,@%+".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_is_json_inside_one_shell_word() {
        let line = qemu(Path::new("/run/user/1000/portcullis/disk0/cntrl"));
        let json = line.split("-device '").nth(1).unwrap().split('\'').next().unwrap();
        let device: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(device["driver"], "vfio-user-pci");
        assert_eq!(device["socket"]["path"], "/run/user/1000/portcullis/disk0/cntrl");
        assert!(line.contains("memory-backend-memfd,id=mem0,size=1G,share=on"));
    }

    #[test]
    fn a_path_with_quotes_and_spaces_stays_one_word() {
        assert_eq!(shell_quoted("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(shell_quoted("/run/x"), "/run/x");
        assert!(cloud_hypervisor(Path::new("/a b")).contains("--user-device 'socket=/a b'"));
    }
}
