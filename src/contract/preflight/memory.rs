//! How much memory the process has.

/// Bytes of the process that are in memory; nothing where the system does not tell, which is everywhere but on Linux.
///
/// From `status` and not from `statm`: that counts in pages, whose size only a call of the system's tells.
pub(super) fn resident() -> Option<u64> {
    if cfg!(target_os = "linux") { resident_in(&read("/proc/self/status")?) } else { None }
}

fn read(path: &str) -> Option<String> {
    use std::io::Read;
    const BYTES_MAX: u64 = 1 << 16;
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `VmRSS:     1234 kB`
fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_size_is_read_from_its_line() {
        assert_eq!(resident_in("Name:\tx\nVmHWM:\t   9 kB\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        for status in ["", "VmRSS:", "VmRSS: 1 MB", "VmRSS: x kB", "VmRSS: 99999999999999999999 kB"] {
            assert_eq!(resident_in(status), None, "{status}");
        }
        assert!(!cfg!(target_os = "linux") || resident().is_some_and(|bytes| bytes > 1 << 20));
    }
}
