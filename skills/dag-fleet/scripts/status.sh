#!/bin/sh
exec fleet status "$@"
# written by fleet integrate, 2bb1a66a11b61992
