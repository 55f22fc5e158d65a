#pragma once
#pragma clang module import SwiftGlibc

#include <libpq-fe.h>
