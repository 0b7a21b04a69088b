//! HTTP/2 frames as they pass by: what they are, not what they carry.
//!
//! Of payloads only settings and window updates are read, and those only until the first response:
//! they are what the peer opened the connection with.

use crate::outcome::Http2Settings;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const WINDOW_UPDATE: u8 = 0x8;
const ACK: u8 = 0x1;

/// The window of every connection before it is updated (RFC 9113, section 6.9.2).
const INITIAL_WINDOW: u32 = 65_535;

/// Walks over frames (RFC 9113, section 4.1), however they are split.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; Self::HEADER],
    filled: usize,
    /// Of the payload at hand, what is still to come.
    payload: usize,
    /// What is read of the payload at hand.
    reading: Option<Reading>,
    answered: bool,
    settings: Option<Http2Settings>,
}

/// A payload that is read in fields of one size.
#[derive(Debug)]
struct Reading {
    kind: u8,
    field: [u8; 6],
    filled: usize,
}

/// What passed in one look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    /// HEADERS frames that began.
    pub(super) headers: u32,
    /// Frames that began with nothing for the application: neither headers nor data.
    pub(super) idle: u32,
    /// Payload bytes of DATA frames, padding included.
    pub(super) data: usize,
}

impl Frames {
    const HEADER: usize = 9;

    /// Looks at `bytes`, which follow those of the last call.
    pub(super) fn look(&mut self, mut bytes: &[u8]) -> Passed {
        let mut passed = Passed::default();
        while !bytes.is_empty() {
            if self.payload > 0 {
                let taken = self.payload.min(bytes.len());
                self.payload -= taken;
                if self.kind() == DATA {
                    passed.data += taken;
                }
                self.read(&bytes[..taken]);
                bytes = &bytes[taken..];
                continue;
            }
            let taken = (Self::HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == Self::HEADER {
                self.filled = 0;
                self.begin(&mut passed);
            }
        }
        passed
    }

    /// What the peer opened the connection with, once it sent any of it.
    pub(super) fn settings(&self) -> Option<Http2Settings> {
        self.settings
    }

    fn kind(&self) -> u8 {
        self.header[3]
    }

    fn begin(&mut self, passed: &mut Passed) {
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
        match kind {
            HEADERS => {
                passed.headers += 1;
                self.answered = true;
            }
            DATA if self.payload > 0 => {}
            _ => passed.idle += 1,
        }
        let connection = u32::from_be_bytes(stream) & 0x7fff_ffff == 0;
        let told = match kind {
            SETTINGS => flags & ACK == 0,
            WINDOW_UPDATE => connection,
            _ => false,
        };
        self.reading = None;
        if told && !self.answered {
            self.reading = Some(Reading { kind, field: [0; 6], filled: 0 });
            self.settings.get_or_insert_default();
        }
    }

    fn read(&mut self, payload: &[u8]) {
        let Some(reading) = &mut self.reading else { return };
        let size = if reading.kind == SETTINGS { 6 } else { 4 };
        for byte in payload {
            reading.field[reading.filled] = *byte;
            reading.filled += 1;
            if reading.filled == size {
                reading.filled = 0;
                let settings = self.settings.get_or_insert_default();
                match reading.kind {
                    SETTINGS => setting(settings, reading.field),
                    _ => widen(settings, reading.field),
                }
            }
        }
    }
}

/// One setting (RFC 9113, section 6.5.2).
fn setting(settings: &mut Http2Settings, [high, low, value @ ..]: [u8; 6]) {
    let value = Some(u32::from_be_bytes(value));
    match u16::from_be_bytes([high, low]) {
        0x3 => settings.max_concurrent_streams = value,
        0x4 => settings.initial_window_size = value,
        0x5 => settings.max_frame_size = value,
        0x6 => settings.max_header_list_size = value,
        _ => {}
    }
}

/// An update of the connection's window, in the first four bytes.
fn widen(settings: &mut Http2Settings, [a, b, c, d, ..]: [u8; 6]) {
    let increment = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
    let window = settings.connection_window_size.unwrap_or(INITIAL_WINDOW);
    settings.connection_window_size = Some(window.saturating_add(increment));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn opening() -> Vec<u8> {
        let settings = [[0, 3, 0, 0, 0, 100], [0, 4, 0, 64, 0, 0], [0, 5, 0, 16, 0, 0]].concat();
        [
            frame(SETTINGS, &settings),
            frame(WINDOW_UPDATE, &[0, 255, 0, 1]),
            frame(HEADERS, &[1; 30]),
            frame(DATA, &[1; 5]),
            frame(DATA, &[]),
            frame(WINDOW_UPDATE, &[0, 0, 0, 1]),
        ]
        .concat()
    }

    #[test]
    fn settings_and_window_updates_are_neither_headers_nor_data() {
        let settings = frame(SETTINGS, &[0; 18]);
        let bytes = [settings, frame(WINDOW_UPDATE, &[0; 4]), frame(SETTINGS, &[])].concat();
        assert_eq!(Frames::default().look(&bytes), Passed { headers: 0, idle: 3, data: 0 });
    }

    #[test]
    fn frames_may_be_split_anywhere() {
        let bytes = opening();
        for split in 0..=bytes.len() {
            let mut frames = Frames::default();
            let (left, right) = bytes.split_at(split);
            let (left, right) = (frames.look(left), frames.look(right));
            let sum = (left.headers + right.headers, left.idle + right.idle);
            assert_eq!((sum, left.data + right.data), ((1, 4), 5), "split at {split}");
            let told = Http2Settings {
                max_concurrent_streams: Some(100),
                initial_window_size: Some(4 << 20),
                max_frame_size: Some(1 << 20),
                connection_window_size: Some(16 << 20),
                max_header_list_size: None,
            };
            assert_eq!(frames.settings(), Some(told), "split at {split}");
        }
    }

    #[test]
    fn what_a_peer_did_not_send_is_not_told() {
        let mut frames = Frames::default();
        frames.look(&frame(HEADERS, &[0; 3]));
        frames.look(&frame(SETTINGS, &[0, 4, 0, 0, 0, 1]));
        assert_eq!(frames.settings(), None);
    }
}
