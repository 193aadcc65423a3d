"""Series in files of the user: tables whose columns and dates are recognised."""
