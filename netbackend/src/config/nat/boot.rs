//! Network boot.
use super::super::{
    section::Section,
    value::{self, Reading, Wrong},
};
use super::NatConfig;

/// The field `file` of a DHCP message (RFC 2131, 2), without its final NUL.
const LONGEST_BOOT_FILE: usize = 127;

/// Reads its keys.
pub(super) fn read(section: &mut Section<'_, '_, '_>, config: &mut NatConfig) {
    config.boot_server = section.get("boot_server", |reading| {
        value::string(reading)?.parse().map_err(|_| {
            Wrong::new(
                format!("{} is not an IPv4 address", reading.text),
                "write the address of a TFTP server, or remove the key: then it is the gateway",
            )
        })
    });
    config.boot_file = section.get("boot_file", boot_file);
    config.tftp_root = section.get("tftp_root", value::absolute_path);
    if let Some(root) = &config.tftp_root
        && !root.is_dir()
    {
        let wrong = Wrong::new(
            format!("{} is not a directory", root.display()),
            "make it, or name another",
        );
        section.problem("tftp_root", wrong);
    }
    // Without a file there is nothing to boot, and no guest would hear of the server (RFC 2131, 2: `siaddr` goes with `file`).
    if config.boot_server.is_some() && !section.has("boot_file") {
        let wrong = Wrong::new(
            "there is no file that guests would boot from this server",
            "add boot_file = \"FILE\", or remove boot_server",
        );
        section.problem("boot_server", wrong);
    }
    if config.boot_file.is_some() && config.boot_server.is_none() && config.tftp_root.is_none() {
        let wrong = Wrong::new(
            "nobody serves the file for network boot",
            "add tftp_root = \"DIRECTORY\", or boot_server = \"ADDRESS\"",
        );
        section.problem("boot_file", wrong);
    }
}

fn boot_file(reading: &Reading<'_, '_>) -> Result<String, Wrong> {
    let name = value::string(reading)?;
    if (1..=LONGEST_BOOT_FILE).contains(&name.len()) && !name.contains('\0') {
        return Ok(name);
    }
    Err(Wrong::new(
        format!("{} is not the name of a file to boot", reading.text),
        format!("write 1 to {LONGEST_BOOT_FILE} bytes, like \"pxelinux.0\""),
    ))
}
