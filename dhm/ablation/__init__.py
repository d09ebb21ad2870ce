"""The paper's evidence (section 8): variants of a config trained and compared."""
