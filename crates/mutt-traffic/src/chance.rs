//! Chance that is the same everywhere: `SplitMix64` (Steele, Lea, Flood 2014). A library's generator
//! may change with its version; recorded traffic must not.

/// A seeded source of numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A whole number below `bound` (≥ 1).
    pub fn below(&mut self, bound: usize) -> usize {
        // The modulo's bias is far below what anybody could see here.
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    /// A number in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time to the next of events that come `rate` times a second on average (Poisson).
    pub fn gap(&mut self, rate: f64) -> f64 {
        -(1.0 - self.unit()).ln() / rate
    }

    /// A position below `len`, the first ones far more often than the last (Zipf, exponent about 1).
    pub fn zipf(&mut self, len: usize) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let position = ((len as f64 + 1.0).powf(self.unit()) - 1.0) as usize;
        position.min(len - 1)
    }

    /// A position, each as often as its weight says.
    pub fn weighted(&mut self, weights: impl Iterator<Item = u32> + Clone) -> usize {
        let total: u32 = weights.clone().sum();
        let mut left = self.below(total.max(1) as usize);
        for (index, weight) in weights.enumerate() {
            if left < weight as usize {
                return index;
            }
            left -= weight as usize;
        }
        0
    }
}
