#!/bin/sh
# Draws thirty seconds of an agent's screen: a made-up CRM in which the refund of the support call is entered.
set -eu
out=$1
regular=$(fc-match -f '%{file}' 'DejaVu Sans')
bold=$(fc-match -f '%{file}' 'DejaVu Sans:bold')

box() { printf ',drawbox=x=%s:y=%s:w=%s:h=%s:color=%s:t=fill%s' "$1" "$2" "$3" "$4" "$5" "${6:+:enable=$6}"; }
text() { printf ",drawtext=fontfile=%s:text='%s':x=%s:y=%s:fontsize=%s:fontcolor=%s%s" "$1" "$2" "$3" "$4" "$5" "$6" "${7:+:enable=$7}"; }
after() { printf "'gte(t,%s)'" "$1"; }

screen=$(
    printf 'null'
    box 0 0 640 36 0x24405c
    text "$bold" 'Harbour Outfitters - Customer desk' 14 11 14 white
    text "$regular" 'Agent 1342' 540 12 12 0xc8d6e5
    box 0 36 130 324 0xe4e9ef
    text "$regular" 'Customers' 14 56 12 0x405060
    text "$bold" 'Orders' 14 82 12 0x24405c
    text "$regular" 'Refunds' 14 108 12 0x405060
    text "$regular" 'Notes' 14 134 12 0x405060
    text "$bold" 'Order 48 15 16' 150 52 18 0x203040
    text "$regular" 'One kettle, blue            24.50' 150 84 13 0x203040
    text "$regular" 'Delivered, reported damaged' 150 104 13 0xa04020 "$(after 4)"
    box 150 136 470 1 0xc0c8d0
    text "$bold" 'Refund' 150 148 14 0x203040 "$(after 7)"
    text "$regular" 'Reason' 150 176 12 0x607080 "$(after 7)"
    box 240 171 250 22 white "$(after 7)"
    text "$regular" 'Dam' 246 176 12 0x203040 "'between(t,9,9.6)'"
    text "$regular" 'Damaged on' 246 176 12 0x203040 "'between(t,9.6,10.4)'"
    text "$regular" 'Damaged on arrival' 246 176 12 0x203040 "$(after 10.4)"
    text "$regular" 'Amount' 150 206 12 0x607080 "$(after 7)"
    box 240 201 250 22 white "$(after 7)"
    text "$regular" '24' 246 206 12 0x203040 "'between(t,13,13.6)'"
    text "$regular" '24.50' 246 206 12 0x203040 "$(after 13.6)"
    text "$regular" 'Card ending' 150 236 12 0x607080 "$(after 7)"
    box 240 231 250 22 white "$(after 7)"
    text "$regular" '31 07' 246 236 12 0x203040 "$(after 17)"
    box 240 268 120 26 0x2e7d4f "$(after 7)"
    text "$bold" 'Refund' 276 275 13 white "$(after 7)"
    box 150 312 470 30 0xd8f0e0 "$(after 23)"
    text "$regular" 'Refund sent. The customer gets a text message.' 162 320 13 0x1e5d38 "$(after 23)"
)

# The pointer wanders from field to field, and rests where something is typed.
pointer_x="if(lt(t,7),180+t*10,if(lt(t,12),380,if(lt(t,16),300,if(lt(t,21),270,300))))"
pointer_y="if(lt(t,7),90+t*6,if(lt(t,12),184,if(lt(t,16),214,if(lt(t,21),244,282))))"

ffmpeg -hide_banner -loglevel error -y \
    -f lavfi -i "color=c=0xf6f8fa:s=640x360:r=8:d=30" \
    -f lavfi -i "color=c=0x101010:s=7x11:r=8:d=30" \
    -filter_complex "[0]${screen}[s];[s][1]overlay=x='${pointer_x}':y='${pointer_y}'" \
    -c:v libvpx-vp9 -crf 36 -b:v 0 -g 40 -threads 1 -row-mt 0 -pix_fmt yuv420p \
    -fflags +bitexact -flags:v +bitexact -map_metadata -1 "$out"
