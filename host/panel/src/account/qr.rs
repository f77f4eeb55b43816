//! QR codes (ISO/IEC 18004) as SVG.

use std::fmt::Write;

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around a code, as the standard asks for.
const BORDER: i32 = 4;

/// A picture of a text, dark on light in every theme: cameras want it so. Empty for a text that is too
/// long.
pub(super) fn svg(text: &str) -> String {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return String::new() };
    let size = code.size();
    let mut modules = String::new();
    for y in 0..size {
        for x in 0..size {
            if code.get_module(x, y) {
                // Writing into a string does not fail.
                let _ = write!(modules, "M{},{}h1v1h-1z", x + BORDER, y + BORDER);
            }
        }
    }
    let side = size + 2 * BORDER;
    format!(
        "<svg class=\"qr\" role=\"img\" aria-label=\"QR\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{modules}\" fill=\"#000\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_picture_without_text_of_others() {
        let picture = svg("otpauth://totp/Relevo:ana%40example.com?secret=ABC&issuer=\"><script>");
        assert!(picture.starts_with("<svg") && !picture.contains("script"), "{picture}");
        assert_eq!(svg(&"x".repeat(5_000)), "");
    }
}
