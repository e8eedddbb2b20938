#![no_main]

use datakit_operator_properties::Target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = Target::Poll.check(bytes) {
        panic!("{broken}");
    }
});
