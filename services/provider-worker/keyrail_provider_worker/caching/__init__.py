"""Answers that are given again: looked up before anybody is paid, kept once they are whole."""
