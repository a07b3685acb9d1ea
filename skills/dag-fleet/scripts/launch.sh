#!/bin/sh
exec fleet launch "$@"
# written by fleet integrate, 22deb41bf256fd4c
