"""The built-in plugins: they use only what every plugin may use."""
