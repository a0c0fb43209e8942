"""What can be done otherwise at one recorded operation: one table a file, each row with the mistake that it undoes.

Level 3.
"""
