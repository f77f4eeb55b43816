//! Plugins by count.

/// The same plugin with a number in it: other octets, so another digest and other compiled code to
/// keep, with the same behaviour.
#[must_use]
pub fn distinct(component: &[u8], number: u32) -> Vec<u8> {
    let mut plugin = component.to_vec();
    let mut content = name("relevo-test-number");
    content.extend(number.to_le_bytes());
    plugin.extend(section(0, &content));
    plugin
}

/// A component with one core module of this many functions, which do nothing: what an upload is
/// bounded by.
#[must_use]
pub fn many_functions(functions: u32) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type: no parameters, no results.
    module.extend(section(1, &[1, 0x60, 0, 0]));
    let mut types = leb(functions);
    types.extend((0..functions).map(|_| 0));
    module.extend(section(3, &types));
    let mut bodies = leb(functions);
    // Two octets: no locals, end.
    bodies.extend((0..functions).flat_map(|_| [2, 0, 0x0b]));
    module.extend(section(10, &bodies));
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    component.extend(section(1, &module));
    component
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut section = vec![id];
    section.extend(leb(u32::try_from(content.len()).unwrap_or(u32::MAX)));
    section.extend(content);
    section
}

fn name(text: &str) -> Vec<u8> {
    let mut name = leb(u32::try_from(text.len()).unwrap_or(u32::MAX));
    name.extend(text.as_bytes());
    name
}

/// Unsigned LEB128.
fn leb(mut n: u32) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let [low, ..] = n.to_le_bytes();
        n >>= 7;
        if n == 0 {
            octets.push(low & 0x7f);
            return octets;
        }
        octets.push(low | 0x80);
    }
}
