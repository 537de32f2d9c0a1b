"""The commands of `onefold`: each module has `register(app)`, which adds its commands; `main` lists the modules."""
