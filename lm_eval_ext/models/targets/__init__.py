"""Which matrices of a model are compressed."""
