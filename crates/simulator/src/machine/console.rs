//! What a radio prints on its serial port: no frame, and never inside one. Before a client has spoken to it, and with
//! firmware before 2.8 afterwards, too.

use std::time::Duration;

use relay_model::NodeNum;

/// What a radio prints that has just started. First what a processor's boot loader says at another speed, with bytes
/// among it that begin a frame.
pub(crate) const BOOT: &[u8] =
    b"\x00\xf0\x94\x80\xff\x94\xc3\xff\x03\x94\x94\xc0\xe0\x1b\x86\x00\x94\xc3\x02\x01\xfe\
    ESP-ROM:esp32s3-20210327\r\n\
    rst:0x3 (RTC_SW_SYS_RST),boot:0x18 (SPI_FAST_FLASH_BOOT)\r\n\
    entry 0x403c98d0\r\n\r\n\
    //\\ E S H T /\\ S T / C\r\n\r\n\
    \x1b[32mINFO \x1b[0m| ??:??:?? 0 \x1b[32mBooted, wake cause 0 (boot count 1), reset_reason=reset\r\n\x1b[0m\
    \x1b[34mDEBUG\x1b[0m | ??:??:?? 0 \x1b[34mFilesystem files:\r\n\x1b[0m\
    \x1b[32mINFO \x1b[0m| ??:??:?? 1 \x1b[32mInit NodeDB\r\n\x1b[0m\
    \x1b[34mDEBUG\x1b[0m | ??:??:?? 2 \x1b[34m[Power] Bat";

/// What a radio prints that has been running for a while: opened in the middle of a line, and spoken to in the middle of
/// another.
pub(crate) const LOG: &[u8] = b"ice telemetry packet to phone\r\n\x1b[0m\
    \x1b[34mDEBUG\x1b[0m | 12:00:07 67 \x1b[34m[Router] Received text msg from=0x1, id=0x2, msg=secret of the mesh\r\n\x1b[0m\
    \x1b[32mINFO \x1b[0m| 12:00:08 68 \x1b[32m[DeviceTelemetry] Send packet to phone\r\n\x1b[0m\
    \x1b[33mWARN \x1b[0m| 12:00:09 69 \x1b[33m[RadioIf] Can not send yet, bus";

/// For how long the radio had been up that prints [`LOG`].
const LOG_UPTIME: u64 = 70;

/// Returns a line of the log.
pub(crate) fn line(uptime: Duration, message: &str) -> String {
    let uptime = LOG_UPTIME + uptime.as_secs();
    format!("\x1b[34mDEBUG\x1b[0m | 12:00:10 {uptime} \x1b[34m{message}\r\n\x1b[0m")
}

/// Returns what is printed of a text that was heard: the text itself, line ends included.
pub(super) fn text_received(from: NodeNum, id: u32, text: &[u8]) -> String {
    let text = text.iter().map(|byte| match byte {
        b'\n' | b' '..=b'~' => char::from(*byte),
        _ => '#',
    });
    let text: String = text.collect();
    let from = from.0;
    format!("[Router] Received text msg from=0x{from:x}, id=0x{id:x}, msg={text}")
}
