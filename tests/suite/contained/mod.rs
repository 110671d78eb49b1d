//! What goes wrong beside the crate stays there: hostile files, failing disks.

mod files;
