"""Places secrets live in."""
