//! How much memory the process has, as the system tells it. Nothing where it does not, which is everywhere but on Linux.
//!
//! From `status` and not from `statm`: that counts in pages, whose size only a call of the system's tells.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of the process that are in memory.
#[cfg(feature = "repository")]
pub(crate) fn resident() -> Option<u64> {
    field(&text("/proc/self/status")?, "VmRSS:")
}

/// Bytes of the process that are in memory and nowhere else: no file's.
pub(crate) fn private() -> Option<u64> {
    field(&text("/proc/self/status")?, "RssAnon:")
}

/// Bytes that are in memory of the files of a folder that this process has mapped; what is mapped by several, sessions or
/// processes, is divided among them. The system looks at every page of the
/// process for it, which takes milliseconds where there are many.
pub(crate) fn mapped_from(folder: &Path) -> Option<u64> {
    // The system tells where files really are, whatever links lead there.
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    // In bytes: a path need not be a text, neither this one nor any other that is mapped.
    let under = [real.as_os_str().as_encoded_bytes(), b"/"].concat();
    mapped_in(&read("/proc/self/smaps", 1 << 24)?, &under)
}

fn text(path: &str) -> Option<String> {
    String::from_utf8(read(path, 1 << 16)?).ok()
}

fn read(path: &str, bytes_max: u64) -> Option<Vec<u8>> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(bytes)
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
fn mapped_in(smaps: &[u8], under: &[u8]) -> Option<u64> {
    let (mut bytes, mut is_ours) = (0_u64, false);
    for line in smaps.split(|byte| *byte == b'\n') {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        if let Some(resident) = line.strip_prefix(b"Pss:") {
            if is_ours {
                bytes = bytes.saturating_add(kilobytes(std::str::from_utf8(resident).ok()?)?);
            }
        } else if word.len() < line.len() && word.contains(&b'-') && !word.contains(&b':') {
            is_ours = line.windows(under.len()).any(|part| part == under);
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
        assert_eq!(mapped_in(smaps.as_bytes(), b"/a/b/"), Some(18 * 1024));
        assert_eq!(mapped_in(b"7f00-7f10 r /a/b/x\nPss: x kB\n", b"/a/b/"), None);
    }

    /// Bug: what is mapped was 0 as soon as a path of the process was no UTF-8, or where the folder was named by a link. Cause: all
    /// was read as one text, and the folder was looked for by the name that it was given. Fix: bytes, and the folder as it is.
    #[test]
    fn a_path_that_is_no_text_is_found_among_others() {
        let smaps = b"7f00-7f10 rw-p 0 fe:00 1   /other/\xff\xfe\nPss: 8 kB\n7f10-7f20 rw-p 0 fe:00 1   /a/\xe9/model.data\nPss: 4 kB\n";
        assert_eq!(mapped_in(smaps, b"/a/\xe9/"), Some(4 * 1024));
    }
}
