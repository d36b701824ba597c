//! A set of buckets.

/// Some of the 256 buckets, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buckets([u64; 4]);

impl Buckets {
    pub(crate) fn insert(&mut self, bucket: u8) {
        self.0[usize::from(bucket >> 6)] |= 1 << (bucket & 63);
    }

    pub(crate) fn contains(&self, bucket: u8) -> bool {
        self.0[usize::from(bucket >> 6)] & (1 << (bucket & 63)) != 0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Those that are in neither.
    pub(crate) fn outside(&self, other: &Self) -> Self {
        let mut left = [0; 4];
        for (index, word) in left.iter_mut().enumerate() {
            *word = !(self.0[index] | other.0[index]);
        }
        Self(left)
    }

    /// Those that are not in the other.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = self.0;
        for (word, other) in left.iter_mut().zip(other.0) {
            *word &= !other;
        }
        Self(left)
    }

    /// Those that are in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut both = self.0;
        for (word, other) in both.iter_mut().zip(other.0) {
            *word &= other;
        }
        Self(both)
    }

    /// The first one from a bucket on, around the circle.
    pub(crate) fn first_from(&self, bucket: u8) -> Option<u8> {
        if *self == Self::default() {
            return None;
        }
        (0..=u8::MAX)
            .map(|offset| bucket.wrapping_add(offset))
            .find(|bucket| self.contains(*bucket))
    }
}

impl FromIterator<u8> for Buckets {
    fn from_iter<I: IntoIterator<Item = u8>>(buckets: I) -> Self {
        let mut set = Self::default();
        buckets.into_iter().for_each(|bucket| set.insert(bucket));
        set
    }
}
