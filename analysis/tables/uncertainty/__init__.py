"""Which answers flip: the unsure ones?"""
