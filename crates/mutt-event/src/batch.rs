//! Many JSON objects in one buffer: the unit in which events travel between stages.
//!
//! One allocation holds the text of all elements, another where each ends, so that handing on a
//! thousand events costs two pointers and writing them costs one copy.

use std::fmt;

/// Queue elements (one JSON object each), back to back, in order of arrival.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Batch {
    /// The most bytes one batch may hold: ends are 32-bit offsets.
    pub const MAX_BYTES: usize = u32::MAX as usize;

    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `elements` elements of together `bytes` bytes.
    pub fn with_capacity(elements: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(elements),
        }
    }

    /// Appends a copy of one element.
    pub fn push(&mut self, element: &[u8]) {
        self.push_with(|bytes| bytes.extend_from_slice(element));
    }

    /// Appends one element that `write` writes at the end of the buffer.
    ///
    /// `write` must only append.
    pub fn push_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let result = write(&mut self.bytes);
        self.seal();
        result
    }

    /// Appends one element that `write` writes; where `write` fails, nothing is appended.
    ///
    /// # Errors
    /// What `write` returned.
    pub fn try_push_with<T, E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = self.bytes.len();
        match write(&mut self.bytes) {
            Ok(value) => {
                self.seal();
                Ok(value)
            }
            Err(error) => {
                self.bytes.truncate(before);
                Err(error)
            }
        }
    }

    fn seal(&mut self) {
        let end =
            u32::try_from(self.bytes.len()).expect("a batch is limited to 4 GiB by its maker");
        self.ends.push(end);
    }

    /// Moves all elements of `other` to the end of this batch.
    pub fn append(&mut self, other: &Batch) {
        let base = u32::try_from(self.bytes.len()).expect("a batch is limited to 4 GiB");
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| base + end));
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all elements together.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The element at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = if index == 0 {
            0
        } else {
            self.ends[index - 1] as usize
        };
        Some(&self.bytes[start..end])
    }

    /// All elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + '_ {
        (0..self.len()).map(|index| self.get(index).expect("index is below len"))
    }

    /// Removes all elements and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The text of all elements and the offset at which each ends.
    pub fn parts(&self) -> (&[u8], &[u32]) {
        (&self.bytes, &self.ends)
    }

    /// Puts a batch together again from its parts; `None` where they do not fit one another.
    pub fn from_parts(bytes: Vec<u8>, ends: Vec<u32>) -> Option<Self> {
        let ordered = ends.windows(2).all(|pair| pair[0] <= pair[1]);
        let last = ends.last().copied().unwrap_or(0) as usize;
        (ordered && last == bytes.len()).then_some(Self { bytes, ends })
    }
}

impl<'a> FromIterator<&'a [u8]> for Batch {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(elements: I) -> Self {
        let mut batch = Self::new();
        elements.into_iter().for_each(|element| batch.push(element));
        batch
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Batch({} elements, {} bytes)",
            self.len(),
            self.byte_len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back_in_order_and_a_failed_one_leaves_no_trace() {
        let mut batch = Batch::new();
        batch.push(b"{}");
        let failed: Result<(), &str> = batch.try_push_with(|bytes| {
            bytes.extend_from_slice(b"half");
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        batch.push(b"{\"a\":1}");
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"{}"[..], b"{\"a\":1}"]);
        let (bytes, ends) = batch.parts();
        assert_eq!(
            Batch::from_parts(bytes.to_vec(), ends.to_vec()),
            Some(batch.clone())
        );
        let mut twice = batch.clone();
        twice.append(&batch);
        assert_eq!(twice.len(), 4);
        assert_eq!(twice.get(3), batch.get(1));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        assert_eq!(Batch::from_parts(vec![1, 2, 3], vec![2]), None);
        assert_eq!(Batch::from_parts(vec![1, 2, 3], vec![3, 2]), None);
        assert_eq!(
            Batch::from_parts(Vec::new(), Vec::new()),
            Some(Batch::new())
        );
    }
}
