"""One module a method; `recipe.catalogue` names each."""
