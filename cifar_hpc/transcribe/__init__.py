"""Turns a printed table or training log into the files of rows, with the digits as printed."""
