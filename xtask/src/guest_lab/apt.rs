//! What the machine's own apt is configured with: its Debian mirror, the key that signs it, and its proxies.
//!
//! No mirror is named in this repository: a machine behind a proxy or with a local mirror has told apt, and the lab
//! asks apt. `PORTCULLIS_DEBIAN_MIRROR` overrides it, for a machine that is not Debian.

use super::{LabError, shell_out};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a mirror to use instead of the one apt is configured with.
pub(super) const MIRROR_VARIABLE: &str = "PORTCULLIS_DEBIAN_MIRROR";

/// Where `debian-archive-keyring` puts Debian's keys.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Options of apt that decide how it reaches a mirror; the rest of the machine's configuration is its own business.
const TRANSPORT_OPTIONS: &[&str] = &[
    "Acquire::http",
    "Acquire::https",
    "Acquire::Retries",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
];

/// A place to take packages from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    /// The URI before `dists/`.
    pub(super) uri: String,
    /// The file with the signing keys; without one apt's trusted keys are used.
    pub(super) keyring: Option<PathBuf>,
}

impl Mirror {
    /// A line of sources.list for one suite.
    pub(super) fn source_line(&self, suite: &str) -> String {
        let options = self.keyring.as_ref().map(|path| format!("[signed-by={}] ", path.display()));
        format!("deb {}{} {suite} main\n", options.unwrap_or_default(), self.uri)
    }
}

/// The Debian mirror that the machine uses for itself.
///
/// # Errors
/// [`LabError::NoMirror`] when apt has none, and what running apt can give.
pub(super) fn mirror() -> Result<Mirror, LabError> {
    if let Ok(uri) = std::env::var(MIRROR_VARIABLE) {
        return Ok(Mirror { uri, keyring: debian_keyring() });
    }
    let targets = shell_out::text(Command::new("apt-get").args(["indextargets", "Identifier: Packages"]))?;
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = os_codename(&release).ok_or(LabError::NoMirror)?;
    let target = choose_target(&targets, codename).ok_or(LabError::NoMirror)?;
    Ok(Mirror { uri: target.uri, keyring: signed_by(&target.entry).or_else(debian_keyring) })
}

fn debian_keyring() -> Option<PathBuf> {
    let path = PathBuf::from(DEBIAN_KEYRING);
    path.exists().then_some(path)
}

/// The machine's transport options, in apt's configuration syntax.
///
/// # Errors
/// What running `apt-config` can give.
pub(super) fn transport_options() -> Result<String, LabError> {
    let dump = shell_out::text(Command::new("apt-config").arg("dump"))?;
    Ok(select_transport(&dump))
}

fn select_transport(dump: &str) -> String {
    let chosen = |line: &&str| {
        let name = line.split_whitespace().next().unwrap_or_default();
        let ours = TRANSPORT_OPTIONS.iter().any(|option| {
            name.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        ours && !line.ends_with("\"\";")
    };
    dump.lines().filter(chosen).map(|line| format!("{line}\n")).collect()
}

fn os_codename(os_release: &str) -> Option<&str> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"'))
}

/// The part of an index target that leads to the mirror and its key.
struct Target {
    uri: String,
    entry: String,
}

/// Picks `main` of the machine's own release. Other vendors publish under the same names, so one whose origin is known
/// to be Debian comes first (the origin is unknown before the first `apt-get update`).
fn choose_target(targets: &str, codename: &str) -> Option<Target> {
    let fields = |stanza: &str| -> HashMap<String, String> {
        stanza.lines().filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.into(), v.into())).collect()
    };
    let candidates: Vec<_> = targets
        .split("\n\n")
        .map(fields)
        .filter(|target| target.get("Release").is_some_and(|release| release == codename))
        .filter(|target| target.get("Component").is_some_and(|component| component == "main"))
        .collect();
    let debian =
        candidates.iter().find(|target| target.get("Origin").is_some_and(|origin| origin == "Debian"));
    let chosen = debian.or(candidates.first())?;
    Some(Target {
        uri: chosen.get("Repo-URI")?.clone(),
        entry: chosen.get("Sourcesentry").cloned().unwrap_or_default(),
    })
}

/// The keyring that a source entry (`FILE:NUMBER`) names, if it names a file.
fn signed_by(entry: &str) -> Option<PathBuf> {
    let (file, number) = entry.rsplit_once(':')?;
    let text = std::fs::read_to_string(file).ok()?;
    let deb822 = Path::new(file).extension().is_some_and(|extension| extension == "sources");
    keyring_of(&text, number.parse().ok()?, deb822)
}

/// In the deb822 form an entry is a stanza and the number its place; in the older form it is a line and its number.
fn keyring_of(text: &str, number: usize, deb822: bool) -> Option<PathBuf> {
    let index = number.checked_sub(1)?;
    let value = if deb822 {
        let stanzas = text.split("\n\n").filter(|stanza| stanza.contains("URIs:"));
        let stanza = stanzas.into_iter().nth(index)?;
        stanza.lines().find_map(|line| line.strip_prefix("Signed-By:"))?.trim()
    } else {
        let (_, rest) = text.lines().nth(index)?.split_once("signed-by=")?;
        rest.split([' ', ']', ',']).next()?
    };
    value.starts_with('/').then(|| PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "Component: main\nRelease: bookworm\nRepo-URI: http://vendor.test/apt/\nOrigin: Vendor\n\
        Sourcesentry: /etc/apt/sources.list.d/vendor.sources:1\n\n\
        Component: main\nRelease: bookworm\nRepo-URI: http://mirror.test/debian/\nOrigin: Debian\n\
        Sourcesentry: /etc/apt/sources.list.d/debian.sources:1\n\n\
        Component: main\nRelease: bookworm-security\nRepo-URI: http://mirror.test/security/\nOrigin: Debian\n";

    #[test]
    fn the_mirror_is_the_machines_own_release_from_debian_and_not_a_vendors() {
        let target = choose_target(TARGETS, "bookworm").unwrap();
        assert_eq!(target.uri, "http://mirror.test/debian/");
        assert_eq!(target.entry, "/etc/apt/sources.list.d/debian.sources:1");
        assert!(choose_target(TARGETS, "noble").is_none());
    }

    #[test]
    fn before_the_first_update_the_only_candidate_is_taken_without_its_origin() {
        let target =
            choose_target("Component: main\nRelease: bookworm\nRepo-URI: http://m.test/\n", "bookworm");
        assert_eq!(target.unwrap().uri, "http://m.test/");
    }

    #[test]
    fn a_keyring_is_found_in_both_forms_of_a_source_entry() {
        let stanzas = "Types: deb\nURIs: http://a.test\nSigned-By: /a.gpg\n\nTypes: deb\nURIs: http://b.test\nSigned-By: /b.gpg\n";
        assert_eq!(keyring_of(stanzas, 2, true), Some(PathBuf::from("/b.gpg")));
        let lines = "# a comment\ndeb [arch=amd64 signed-by=/c.gpg] http://c.test bookworm main\n";
        assert_eq!(keyring_of(lines, 2, false), Some(PathBuf::from("/c.gpg")));
        assert_eq!(keyring_of("Types: deb\nURIs: http://a.test\nSigned-By:\n inline key\n", 1, true), None);
    }

    #[test]
    fn only_options_about_reaching_the_mirror_are_taken_from_the_machine() {
        let dump = "Acquire \"\";\nAcquire::http::Proxy \"http://proxy.test:3128\";\nAcquire::https \"\";\n\
            Acquire::Check-Date \"false\";\nDPkg::Post-Invoke:: \"rm\";\nAcquire::httpfoo \"x\";\n";
        assert_eq!(
            select_transport(dump),
            "Acquire::http::Proxy \"http://proxy.test:3128\";\nAcquire::Check-Date \"false\";\n"
        );
    }

    #[test]
    fn a_source_line_names_its_key_only_when_there_is_one() {
        let mut mirror = Mirror { uri: "http://m.test".into(), keyring: Some("/k.gpg".into()) };
        assert_eq!(mirror.source_line("trixie"), "deb [signed-by=/k.gpg] http://m.test trixie main\n");
        mirror.keyring = None;
        assert_eq!(mirror.source_line("trixie"), "deb http://m.test trixie main\n");
    }
}
