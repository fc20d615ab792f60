//! Masking twice changes nothing, leaves no digit, and does not look at the digits' values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mutt_event::mask::signature;

fuzz_target!(|input: &[u8]| {
    let message = String::from_utf8_lossy(input);
    let once = signature(&message);
    assert!(!once.text.bytes().any(|byte| byte.is_ascii_digit()));
    assert_eq!(signature(&once.text), once);
    let turned: String = message
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                char::from((c as u8 - b'0' + 3) % 10 + b'0')
            } else {
                c
            }
        })
        .collect();
    assert_eq!(signature(&turned), once);
});
