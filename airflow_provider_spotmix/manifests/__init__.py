"""Pure rendering of what is sent to the API server: plain JSON in, plain JSON out; what the caller gave stays as is."""
