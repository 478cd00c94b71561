"""The hooks that torch's own calls suffice for, in every framework that has none of its own for the point."""
