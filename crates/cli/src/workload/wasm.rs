//! What a module imports, for people: its import section and nothing else.

/// Returns the imports of a module as `module.name`; nothing if it is none.
pub(super) fn imports(module: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader { bytes: module.get(8..)? };
    while !reader.bytes.is_empty() {
        let id = reader.byte()?;
        let size = reader.number()?;
        let body = reader.take(size)?;
        if id == 2 {
            return Reader { bytes: body }.imports();
        }
    }
    Some(Vec::new())
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn imports(mut self) -> Option<Vec<String>> {
        let count = self.number()?;
        let mut all = Vec::new();
        for _ in 0..count {
            let (module, name) = (self.name()?, self.name()?);
            all.push(format!("{module}.{name}"));
            match self.byte()? {
                0 => drop(self.number()?),
                1 => {
                    self.byte()?;
                    self.limits()?;
                }
                2 => self.limits()?,
                3 => drop(self.take(2)?),
                _ => return None,
            }
        }
        Some(all)
    }

    fn limits(&mut self) -> Option<()> {
        let flags = self.byte()?;
        self.number()?;
        if flags & 1 == 1 {
            self.number()?;
        }
        Some(())
    }

    fn name(&mut self) -> Option<&'a str> {
        let size = self.number()?;
        std::str::from_utf8(self.take(size)?).ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(size)?;
        self.bytes = rest;
        Some(taken)
    }

    /// LEB128 of at most 32 bits.
    fn number(&mut self) -> Option<usize> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).ok();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_read_and_broken_modules_have_none() {
        let text = r#"(module
            (import "a" "f" (func (param i32)))
            (import "a" "m" (memory 1 2))
            (import "b" "g" (global i32))
            (import "b" "t" (table 1 funcref)))"#;
        let module = wat::parse_str(text).unwrap();
        assert_eq!(imports(&module).unwrap(), ["a.f", "a.m", "b.g", "b.t"]);
        assert_eq!(imports(&wat::parse_str("(module)").unwrap()).unwrap(), [""; 0]);
        for end in 9..module.len() {
            // Every truncation inside the sections is noticed, or comes after the imports.
            let _ = imports(&module[..end]);
        }
        assert_eq!(imports(b"\0asm"), None);
        assert_eq!(imports(b"\0asm\x01\0\0\0\x02\xff"), None);
    }
}
