"""Less able, or more stereotyped?"""
