"""The node document and flow state that `mailwright demo` runs."""
