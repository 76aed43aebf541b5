//! Text that a radio prints on its serial port between frames: before a client's first frame and, with firmware before
//! 2.8, also afterwards.

use std::time::Duration;

use relay_model::NodeNum;

/// The output of a start. The boot loader prints at another speed, with bytes among it that begin a frame.
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

/// The output of a running radio, cut at both ends.
pub(crate) const LOG: &[u8] = b"ice telemetry packet to phone\r\n\x1b[0m\
    \x1b[34mDEBUG\x1b[0m | 12:00:07 67 \x1b[34m[Router] Received text msg from=0x1, id=0x2, msg=secret of the mesh\r\n\x1b[0m\
    \x1b[32mINFO \x1b[0m| 12:00:08 68 \x1b[32m[DeviceTelemetry] Send packet to phone\r\n\x1b[0m\
    \x1b[33mWARN \x1b[0m| 12:00:09 69 \x1b[33m[RadioIf] Can not send yet, bus";

/// Uptime of the radio that prints [`LOG`].
const LOG_UPTIME: u64 = 70;

pub(crate) fn line(uptime: Duration, message: &str) -> String {
    let uptime = LOG_UPTIME + uptime.as_secs();
    format!("\x1b[34mDEBUG\x1b[0m | 12:00:10 {uptime} \x1b[34m{message}\r\n\x1b[0m")
}

/// Returns the log lines of a received text, which is printed unescaped, line ends included.
pub(super) fn text_received(from: NodeNum, id: u32, text: &[u8]) -> String {
    let text = text.iter().map(|byte| match byte {
        b'\n' | b' '..=b'~' => char::from(*byte),
        _ => '#',
    });
    let text: String = text.collect();
    let from = from.0;
    format!("[Router] Received text msg from=0x{from:x}, id=0x{id:x}, msg={text}")
}
