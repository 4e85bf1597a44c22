"""placeholder docstring"""
