//! How much memory the process has, as the system tells it. Nothing where it does not, which is everywhere but on Linux.
//!
//! From `status` and not from `statm`: that counts in pages, whose size only a call of the system's tells.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of the process that are in memory.
#[cfg(feature = "repository")]
pub(crate) fn resident() -> Option<u64> {
    field(&read("/proc/self/status", 1 << 16)?, "VmRSS:")
}

/// Bytes of the process that are in memory and nowhere else: no file's.
pub(crate) fn private() -> Option<u64> {
    field(&read("/proc/self/status", 1 << 16)?, "RssAnon:")
}

/// Bytes that are in memory of the files of a folder that this process has mapped; what is mapped by several, sessions or
/// processes, is divided among them. The system looks at every page of the
/// process for it, which takes milliseconds where there are many.
pub(crate) fn mapped_from(folder: &Path) -> Option<u64> {
    mapped_in(&read("/proc/self/smaps", 1 << 24)?, &format!("{}/", folder.display()))
}

fn read(path: &str, bytes_max: u64) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(bytes_max).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `VmRSS:     1234 kB`
fn field(status: &str, name: &str) -> Option<u64> {
    kilobytes(status.lines().find_map(|line| line.strip_prefix(name))?)
}

fn kilobytes(text: &str) -> Option<u64> {
    let kilobytes: u64 = text.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// A mapping begins with a line that ends with its path; the lines of its figures follow.
fn mapped_in(smaps: &str, under: &str) -> Option<u64> {
    let (mut bytes, mut is_ours) = (0_u64, false);
    for line in smaps.lines() {
        if let Some(resident) = line.strip_prefix("Pss:") {
            if is_ours {
                bytes = bytes.saturating_add(kilobytes(resident)?);
            }
        } else if line.split_once(' ').is_some_and(|(range, _)| range.contains('-') && !range.contains(':')) {
            is_ours = line.contains(under);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_from_its_line() {
        let status = "Name:\tx\nVmHWM:\t   9 kB\nVmRSS:\t   12 kB\nRssAnon:\t 3 kB\n";
        assert_eq!((field(status, "VmRSS:"), field(status, "RssAnon:")), (Some(12 * 1024), Some(3 * 1024)));
        for status in ["", "VmRSS:", "VmRSS: 1 MB", "VmRSS: x kB", "VmRSS: 99999999999999999999 kB"] {
            assert_eq!(field(status, "VmRSS:"), None, "{status}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells() {
        assert!(private().is_some_and(|bytes| bytes > 1 << 16));
        assert!(mapped_from(Path::new("/nowhere")).is_some_and(|bytes| bytes == 0));
    }

    #[test]
    fn mappings_of_a_folder_are_added_up() {
        let smaps = "7f00-7f10 rw-p 0000 fe:00 1   /a/b/model.data\nSize: 64 kB\nPss:  16 kB\nVmFlags: rd\n\
                     7f10-7f20 rw-p 0000 00:00 0\nPss: 8 kB\n7f20-7f30 r--p 0 fe:00 2 /a/bc/model.data\nPss: 4 kB\n\
                     7f30-7f40 rw-p 0000 fe:00 1   /a/b/model.data\nPss: 2 kB\n";
        assert_eq!(mapped_in(smaps, "/a/b/"), Some(18 * 1024));
        assert_eq!(mapped_in("7f00-7f10 r /a/b/x\nPss: x kB\n", "/a/b/"), None);
    }
}
