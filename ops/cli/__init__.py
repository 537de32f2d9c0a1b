"""The commands of `onefold`: every module here has `register(app)`, which adds its own."""
