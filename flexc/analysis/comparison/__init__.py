"""FlexBlock beside other accelerators: what a model asks for, what each machine takes for it."""
