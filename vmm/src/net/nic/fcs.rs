//! The frame check sequence (IEEE 802.3, 3.2.9), and the multicast hashes that NICs make of it.

/// What goes behind `frame`, in the order of the cable.
pub fn of(frame: &[u8]) -> [u8; 4] {
    crc32fast::hash(frame).to_le_bytes()
}

/// Bit of a 64-bit multicast filter: the upper six bits of the CRC as it is shifted out most significant bit first (DP8390,
/// RTL8139).
pub fn hash_msb_first(address: [u8; 6]) -> u32 {
    (!crc32fast::hash(&address)).reverse_bits() >> 26
}

/// The same of the CRC least significant bit first (Am79C970A, LADRF).
pub fn hash_lsb_first(address: [u8; 6]) -> u32 {
    !crc32fast::hash(&address) >> 26
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_are_those_of_the_standards() {
        // CRC-32/ISO-HDLC of "123456789".
        assert_eq!(of(b"123456789"), 0xcbf4_3926u32.to_le_bytes());
        // A frame and its FCS leave the magic residue, whatever the frame.
        let mut frame = b"any frame".to_vec();
        frame.extend(of(&frame.clone()));
        assert_eq!(crc32fast::hash(&frame), 0x2144_df1c);
    }

    #[test]
    fn hashes_are_those_that_linux_drivers_set() {
        // By ether_crc and ether_crc_le of the kernel, for the all-hosts group.
        let all_hosts = [0x01, 0x00, 0x5e, 0, 0, 1];
        let bitwise = |address: [u8; 6], msb_first: bool| {
            let mut crc = u32::MAX;
            for byte in address {
                for bit in 0..8 {
                    let data = u32::from(byte >> bit & 1);
                    crc = if msb_first {
                        crc << 1
                            ^ if crc >> 31 ^ data == 0 {
                                0
                            } else {
                                0x04c1_1db7
                            }
                    } else {
                        crc >> 1 ^ if crc & 1 ^ data == 0 { 0 } else { 0xedb8_8320 }
                    };
                }
            }
            crc >> 26
        };
        for address in [all_hosts, [0x33, 0x33, 0, 0, 0, 0xfb], [0xff; 6]] {
            assert_eq!(hash_msb_first(address), bitwise(address, true));
            assert_eq!(hash_lsb_first(address), bitwise(address, false));
        }
    }
}
