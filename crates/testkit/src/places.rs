//! A small geographic database in MaxMind's format (version 2.0 of its specification), for tests.

use std::net::Ipv4Addr;
use std::path::Path;

/// Writes a database of IPv4 networks: prefix, its length, country, city.
///
/// # Errors
/// When the file cannot be written.
pub fn write_places(path: &Path, places: &[(Ipv4Addr, u8, &str, &str)]) -> std::io::Result<()> {
    // A node is two records; what is found is `nodes + 16 + offset in the data`.
    let mut nodes: Vec<[Option<Next>; 2]> = vec![[None, None]];
    let mut data = Vec::new();
    for (prefix, length, country, city) in places {
        let offset = data.len();
        map(&mut data, 2);
        text(&mut data, "country");
        map(&mut data, 1);
        text(&mut data, "iso_code");
        text(&mut data, country);
        text(&mut data, "city");
        map(&mut data, 1);
        text(&mut data, "names");
        map(&mut data, 1);
        text(&mut data, "en");
        text(&mut data, city);
        let bits = u32::from(*prefix);
        let mut at = 0;
        for depth in 0..*length {
            let side = (bits >> (31 - u32::from(depth)) & 1) as usize;
            if depth + 1 == *length {
                nodes[at][side] = Some(Next::Data(offset));
                break;
            }
            at = match nodes[at][side] {
                Some(Next::Node(next)) => next,
                _ => {
                    nodes.push([None, None]);
                    let next = nodes.len() - 1;
                    nodes[at][side] = Some(Next::Node(next));
                    next
                }
            };
        }
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for node in &nodes {
        for record in node {
            let value = match record {
                None => count,
                Some(Next::Node(next)) => *next,
                Some(Next::Data(offset)) => count + 16 + offset,
            };
            file.extend_from_slice(&(value as u32).to_be_bytes());
        }
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xAB\xCD\xEFMaxMind.com");
    map(&mut file, 9);
    text(&mut file, "node_count");
    // Unsigned of 32 bits; the numbers below have 16.
    file.push(6 << 5 | 4);
    file.extend_from_slice(&(count as u32).to_be_bytes());
    for (key, value) in [("record_size", 32), ("ip_version", 4)] {
        text(&mut file, key);
        number(&mut file, value);
    }
    text(&mut file, "database_type");
    text(&mut file, "Test-City");
    text(&mut file, "languages");
    // An array of one.
    file.extend_from_slice(&[0x01, 0x04]);
    text(&mut file, "en");
    for key in ["binary_format_major_version", "binary_format_minor_version"] {
        text(&mut file, key);
        number(&mut file, if key.contains("major") { 2 } else { 0 });
    }
    text(&mut file, "build_epoch");
    // Unsigned of 64 bits.
    file.extend_from_slice(&[0x04, 0x02, 0x66, 0x00, 0x00, 0x00]);
    text(&mut file, "description");
    map(&mut file, 1);
    text(&mut file, "en");
    text(&mut file, "places of a test");
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, file)?;
    std::fs::rename(fresh, path)
}

#[derive(Clone, Copy)]
enum Next {
    Node(usize),
    Data(usize),
}

fn map(to: &mut Vec<u8>, pairs: u8) {
    to.push(7 << 5 | pairs);
}

fn text(to: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 29, "invariant: the texts of tests are short");
    to.push(2 << 5 | text.len() as u8);
    to.extend_from_slice(text.as_bytes());
}

fn number(to: &mut Vec<u8>, value: u16) {
    to.push(5 << 5 | 2);
    to.extend_from_slice(&value.to_be_bytes());
}
